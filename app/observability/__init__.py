"""What the service tells its operators: logs, metrics and, where wanted, traces."""
