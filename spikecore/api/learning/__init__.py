"""Learning through time: BPTT, and forward in time e-prop, OTTT, RTRL and others; plasticity. See docs/learning.md."""
