"""Tables: CSV wide and long, Open Images, Hugging Face imagefolder."""
