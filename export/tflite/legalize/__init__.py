"""Rewrite what TFLite cannot express, before the lowering: functions, branches, loops, types."""
