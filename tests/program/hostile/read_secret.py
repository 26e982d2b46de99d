final_answer = open("/tmp/valor_ray_planted_secret").read()
