"""One call: its transport, what failed, the reply's schema, when a straggler is asked again."""
