"""Operators: functions of (batch, state, time). No input or output, no clock, no client."""
