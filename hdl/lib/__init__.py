"""What engines share: streams, arithmetic, memories, activation tables, bus adapters."""
