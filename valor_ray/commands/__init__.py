"""One module per `valor` command: `HELP`, `add_arguments(parser)` and `run(args) -> exit code`.

Importing a command must stay cheap (no torch, ray, vllm, pydantic): import what does the work inside `run`.
"""
