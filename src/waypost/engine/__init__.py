"""The engine: the runtime, the network, and one package per area."""
