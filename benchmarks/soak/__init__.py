"""Half an hour of load: does memory stay where it is?"""
