"""Time series: electricity, ETT, and windows over them."""
