"""Named actors that several processes share: the judges' ledger, publications, sandboxes, the rollout buffer."""
