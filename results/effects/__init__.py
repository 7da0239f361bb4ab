"""What each factor does to a metric, and how levels of one factor compare, as tables and figures from any store."""
