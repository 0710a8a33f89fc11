"""How fast does LeNet-5 train on this machine, by each library?"""
