from jaxgen.nets.residual import ResNet
