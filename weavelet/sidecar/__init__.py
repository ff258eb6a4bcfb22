"""The sidecar: a helper process beside one trainer that talks to the bus for it."""
