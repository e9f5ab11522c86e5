"""Who sends the schedule's tasks on time? One beat per fleet, with its memory in a file of its host."""
