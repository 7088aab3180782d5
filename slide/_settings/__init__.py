"""What the user asks for: parameters checked, "auto" resolved, held against the memory."""
