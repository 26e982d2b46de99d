"""`valor eval` on Ray: questions stream through workers, which ask the models through Serve handles."""
