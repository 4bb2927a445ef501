; A guest whose screen never rests: tests hold the picture of it against QEMU's own.
;
; It draws 18 times a second, in one mode after the other: each key takes it to the next, and COM1
; says which that is (M0 to M4). A byte sent to COM1 has it rest (it says R), another go on (it says
; G). In the last mode the BIOS's window moves over the whole screen.

        bits 16
        org 0x7c00

COM1    equ 0x3f8
WORDS   equ 700                 ; drawn at a time

start:  cli
        xor ax, ax
        mov ds, ax
        mov ss, ax
        mov sp, 0x7c00
        sti
        cld
        mov dx, COM1 + 1        ; no UART interrupts, 8n1
        xor al, al
        out dx, al
        mov dx, COM1 + 3
        mov al, 3
        out dx, al

enter_: mov bx, [mode]          ; the table's line: function, mode, segment
        shl bx, 3
        mov ax, [modes + bx]
        mov cx, [modes + bx + 4]
        mov es, cx
        mov bx, [modes + bx + 2]
        int 0x10
        mov ah, 0x01            ; no text cursor
        mov cx, 0x2000
        int 0x10
        mov al, 'M'
        call say
        mov al, [mode]
        add al, '0'
        call line
        xor di, di

wait_:  sti                     ; the card's BIOS may come back without
        hlt
        mov ah, 0x01
        int 0x16
        jnz key
        mov dx, COM1 + 5
        in al, dx
        test al, 1
        jz .turn
        mov dx, COM1
        in al, dx
        xor byte [rests], 'R' ^ 'G'
        mov al, [rests]
        call line
.turn:  cmp byte [rests], 'R'
        je wait_
        mov ax, [0x46c]         ; the BIOS's clock
        cmp ax, [tick]
        je wait_
        mov [tick], ax

        cmp byte [mode], 4      ; the window of 64 KiB: on to the next
        jne draw
        mov ax, 0x4f05
        xor bx, bx
        mov dx, [bank]
        inc dx
        cmp dx, 29              ; 800x600 pixels of 4 bytes
        jb .in
        xor dx, dx
.in:    mov [bank], dx
        int 0x10

draw:   mov cx, WORDS
        mov ax, [colour]
        and ah, 0x7f
        cmp byte [mode], 0
        jne .word
        and di, 0x0fff          ; text ends where the BIOS of the card begins, and well before
.word:  stosw
        add ax, 0x0103
        and ah, 0x7f            ; in text: nothing that blinks
        loop .word
        add word [colour], 0x2931
        jmp wait_

key:    xor ah, ah
        int 0x16
        inc word [mode]
        cmp word [mode], 5
        jb enter_
        mov word [mode], 0
        jmp enter_

line:   call say
        mov al, 10
say:    mov ah, al
        mov dx, COM1 + 5
.full:  in al, dx
        test al, 0x20
        jz .full
        mov dx, COM1
        mov al, ah
        out dx, al
        ret

mode:   dw 0
tick:   dw 0
rests:  db 'G'
bank:   dw 0
colour: dw 0x1f41
modes:  dw 0x0003, 0, 0xb800, 0         ; text, 720x400
        dw 0x0013, 0, 0xa000, 0         ; 320x200, 256 colours; QEMU doubles it
        dw 0x0012, 0, 0xa000, 0         ; 640x480, 16 colours in planes
        dw 0x4f02, 0x0111, 0xa000, 0    ; 640x480, 16 bits
        dw 0x4f02, 0x0143, 0xa000, 0    ; 800x600, 32 bits

        times 510 - ($ - $$) db 0
        dw 0xaa55
