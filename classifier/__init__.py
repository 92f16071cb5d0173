"""Label heads and their calibration."""
