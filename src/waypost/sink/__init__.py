"""The outside world in a box: receivers that behave as they are told and list what they got."""
