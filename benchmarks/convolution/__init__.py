"""How fast is a convolution, in each direction, by each library and each method?"""
