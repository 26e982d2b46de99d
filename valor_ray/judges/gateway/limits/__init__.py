"""When a call may go: concurrency, the account's budget, the breaker, and the order of them."""
