with open("/tmp/valor_ray_written", "w") as file:
    file.write("here")
final_answer = "written"
