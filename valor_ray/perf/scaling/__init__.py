"""How throughput grows with replicas, and what bends the curve: `valor bench policies`, `valor bench gateways`."""
