"""Which fleet file describes a broker that is there already? A broker's objects go in, a file comes out."""
