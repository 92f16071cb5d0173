"""The front door: settings, composition root and command line."""
