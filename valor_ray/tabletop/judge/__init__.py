"""The offline judge: an OpenAI-protocol server that looks at pixels and nothing else."""
