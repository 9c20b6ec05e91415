"""Tables, curves and pages of finished and running work. It only reads the files of runs."""
