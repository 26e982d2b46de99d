"""Models behind endpoints that write plan and program: the policy port without an engine of ours."""
