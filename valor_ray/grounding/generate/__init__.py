"""The VLM as a box generator beside the verified detector (paper, figure 4): calibration, the run, the comparison."""
