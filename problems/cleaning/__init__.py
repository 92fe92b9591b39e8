"""Raw measurements made into a table that can be trained on, by Spark."""
