"""The IPU engine: plain torch ops that PopTorch can lower, checked and simulated on any machine."""
