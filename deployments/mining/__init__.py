"""Mines boxes on Ray: what carries `valor mine`, and the same thing as a job.

    valor mine --run runs/boxes
    ray job submit -- python -m jobs.mine --run /shared/runs/boxes

Takes the options of `valor mine`. On a cluster, the run folder and the pictures must be where all nodes see them.

Two streams of Ray Data, one after the other: queries through workers that ask the policy, then pictures through workers
that ask detector and verifier. Neither reads faster than its outcomes are taken. The policy is ended in between.
"""
