; A guest whose screen never rests, to measure the live view with.
;
;   nasm -f bin -o moving.img moving.asm
;
; It draws 1280x800 pixels anew with each tick of the timer, 18 times a second, so that no two
; pictures have a cell in common; but for the block in the upper left corner, 160x160 pixels,
; which every key turns from black to white and back, at once.

        bits 16
        org 0x7c00

WIDTH   equ 1280
HEIGHT  equ 800
BLOCK   equ 160
BAND    equ 8                   ; rows that look the same
INFO    equ 0x8000
ROW     equ 0x9000
TICKS   equ 0x46c               ; the BIOS counts them there

start:  cli
        xor ax, ax
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov sp, 0x7c00
        cld
        mov ax, 0x4f01          ; where the frame buffer is: the same for every mode
        mov cx, 0x0118
        mov di, INFO
        int 0x10
        mov ebp, [INFO + 0x28]

        mov si, modes           ; the mode, by the ports of Bochs' and QEMU's display
.mode:  lodsw
        cmp ax, -1
        je .set
        mov dx, 0x1ce
        out dx, ax
        lodsw
        inc dx
        out dx, ax
        jmp .mode

.set:   lgdt [table]            ; ES reaches all of memory from here on
        mov eax, cr0
        or al, 1
        mov cr0, eax
        mov bx, 8
        mov es, bx
        and al, 0xfe
        mov cr0, eax
        xor bx, bx
        mov es, bx
        call block
        sti

frame:  inc byte [time]
        mov edi, ebp
        xor ebx, ebx            ; the row
band:   xor ecx, ecx            ; the column
        mov esi, ROW
.pixel: mov eax, ecx
        shr eax, 2
        add al, [time]          ; blue runs to the left, green down
        mov ah, bl
        sub ah, [time]
        mov dl, cl
        xor dl, bl
        movzx edx, dl           ; red stands
        shl edx, 16
        movzx eax, ax
        or eax, edx
        mov [esi], eax
        add esi, 4
        inc cx
        cmp cx, WIDTH
        jb .pixel

        mov dx, BAND
.row:   mov esi, ROW
        mov ecx, WIDTH
        cmp bx, BLOCK
        jae .copy
        mov ecx, WIDTH - BLOCK
        add esi, 4 * BLOCK
        add edi, 4 * BLOCK
.copy:  a32 rep movsd
        inc bx
        dec dx
        jnz .row
        call key
        cmp bx, HEIGHT
        jb band

        mov ax, [TICKS]
.rest:  call key
        hlt
        cmp ax, [TICKS]
        je .rest
        jmp frame

; Turns the block over if a key was pressed. All registers stay as they are.
key:    pushad
        mov ax, [0x41a]
        cmp ax, [0x41c]
        je .none
        xor ah, ah
        int 0x16
        not dword [colour]
        call block
.none:  popad
        ret

block:  mov edi, ebp
        mov eax, [colour]
        mov dx, BLOCK
.row:   mov ecx, BLOCK
        a32 rep stosd
        add edi, 4 * (WIDTH - BLOCK)
        dec dx
        jnz .row
        ret

time:   db 0
colour: dd 0

modes:  dw 4, 0                 ; off
        dw 1, WIDTH
        dw 2, HEIGHT
        dw 3, 32
        dw 4, 0x41              ; on, linear
        dw -1

        align 4
gdt:    dq 0
        dq 0x00cf92000000ffff   ; data, four gigabytes
table:  dw table - gdt - 1
        dd gdt

        times 510 - ($ - $$) db 0
        dw 0xaa55
