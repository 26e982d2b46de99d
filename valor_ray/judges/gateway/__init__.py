"""How an endpoint is asked: the path of a request, stored answers, several judges as one."""
