from cortexc.compiler.cli import main

main()
