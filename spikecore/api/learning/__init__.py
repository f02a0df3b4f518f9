"""Learning through time: BPTT, and forward in time e-prop, OSTL, OTTT and RTRL; plasticity. See docs/learning.md."""
