"""What other releases answered, held against this one."""
