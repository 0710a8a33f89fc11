"""Training benchmarks: LeNet-5 in each library, and training steps on several devices."""
