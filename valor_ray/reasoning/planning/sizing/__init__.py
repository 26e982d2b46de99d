"""How long a step takes on so many GPUs, and which split of them wastes least: `valor plan`. Pure, nothing starts."""
