"""What runs a learner's file: in a notebook's own process for a quick look, in a confined child for a mark.

    answers     load the file, call a function, say what came back as plain values
    wire        such values on a socket
    confine     limits and layers around a process
    __main__    the nursery: run as a program, forks a child for each exercise

Nothing here imports anything of ours: the program is started from this folder alone, so that a child can't find the
course in its own memory.
"""
