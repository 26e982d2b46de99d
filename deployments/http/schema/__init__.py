"""What requests may hold and replies hold: checked by it, and told of in OpenAPI."""
