"""What the traffic does now and did in the last quarter of an hour: rates, errors, percentiles, from the counters that `/metrics` shows."""
