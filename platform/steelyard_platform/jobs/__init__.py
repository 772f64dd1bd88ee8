"""Jobs: requests, states, leases, metrics, logs and checkpoints. The database is the truth, the broker a doorbell."""
