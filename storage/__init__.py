"""SQLAlchemy schema and stores; one public method is one transaction."""
