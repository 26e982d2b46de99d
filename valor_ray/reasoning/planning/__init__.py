"""What a training run would do and take, before it begins: `valor train reasoning --dry-run`. Pure, without Ray."""
