"""Hourly time series (electricity load, ETT), cut into forecasting windows."""
