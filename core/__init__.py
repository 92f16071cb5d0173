"""Plain types, ports, errors and use cases. Imports no framework; numpy is the only third-party package."""
