"""Face images with ages: UTKFace, AgeDB, IMDB-WIKI."""
