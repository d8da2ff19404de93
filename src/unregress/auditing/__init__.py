"""The audit: check the arguments, predict with all models, measure, judge."""
