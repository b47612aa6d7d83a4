"""What stages rest on, asked of a real broker: does it behave as their design needs?"""
